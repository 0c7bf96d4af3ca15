package ecs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// request and answer are those of PUT $ECS_AGENT_URI/task-protection/v1/state. A failure comes with status 200.
// ExpirationDate is omitted: the guide's text has an epoch, its example a date, and nothing here needs it.
type request struct {
	ProtectionEnabled bool
	ExpiresInMinutes  int `json:",omitempty"`
}

type answer struct {
	Protection *struct{ ProtectionEnabled bool } `json:"protection"`
	Failure    *struct{ Reason, Detail string }  `json:"failure"`
	Error      *struct{ Code, Message string }   `json:"error"`
}

// call sets the protection. It returns nil only if the answer confirms that.
func (l *Lifecycle) call(ctx context.Context, on bool) error {
	req := request{ProtectionEnabled: on}
	if on {
		req.ExpiresInMinutes = int(l.o.Expires / time.Minute)
	}
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("ecs: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, strings.TrimSuffix(l.o.Agent, "/")+"/task-protection/v1/state", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ecs: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := l.o.Client.Do(r)
	if err != nil {
		return fmt.Errorf("ecs: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ecs: answer of the agent: %w", err)
	}
	return judge(resp.StatusCode, b, on)
}

// maxAnswer bounds how many bytes of an answer are read.
const maxAnswer = 64 << 10

// judge returns nil if the agent confirms the requested protection.
func judge(status int, body []byte, on bool) error {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return fmt.Errorf("ecs: the agent answers %d with %.200q: %w", status, body, err)
	}
	switch {
	case a.Error != nil && a.Error.Code == "AccessDeniedException":
		return fmt.Errorf("ecs: %s: the task's role needs ecs:UpdateTaskProtection: %s", a.Error.Code, a.Error.Message)
	case a.Error != nil:
		return fmt.Errorf("ecs: %s: %s", a.Error.Code, a.Error.Message)
	case a.Failure != nil && a.Failure.Reason == "TASK_NOT_VALID":
		return errors.New("ecs: TASK_NOT_VALID: only a task that a service runs can be protected, and only while it runs")
	case a.Failure != nil && a.Failure.Reason == "DEPLOYMENT_BLOCKED":
		return fmt.Errorf("ecs: DEPLOYMENT_BLOCKED: %s: the service has more protected tasks than it desires, and this one is not protected:"+
			" raise Options.ProtectAbove or the desired count, or wait for a protection to end", a.Failure.Detail)
	case a.Failure != nil:
		return fmt.Errorf("ecs: %s: %s", a.Failure.Reason, a.Failure.Detail)
	case status != http.StatusOK || a.Protection == nil || a.Protection.ProtectionEnabled != on:
		return fmt.Errorf("ecs: the agent answers %d without confirming: %.200q", status, body)
	}
	return nil
}
