package audit

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestStatusHidesSecrets: whoever sees the page of an auditor sees its errors, and no credential in them.
func TestStatusHidesSecrets(t *testing.T) {
	var s Status
	s.note(time.Now(), time.Second, nil, errors.New("get https://ops:hunter2@store/x?X-Amz-Signature=hunter2: refused"))
	if strings.Contains(s.Err, "hunter2") || !strings.Contains(s.Err, "refused") {
		t.Error(s.Err)
	}
}
