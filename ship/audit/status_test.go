package audit

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestStatusHidesSecrets: errors on the page of an auditor contain no credentials.
func TestStatusHidesSecrets(t *testing.T) {
	var s Status
	s.note(time.Now(), time.Second, nil, errors.New("get https://ops:hunter2@store/x?X-Amz-Signature=hunter2: refused"))
	if strings.Contains(s.Err, "hunter2") || !strings.Contains(s.Err, "refused") {
		t.Error(s.Err)
	}
}
