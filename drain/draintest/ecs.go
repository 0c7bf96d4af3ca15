package draintest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// ECSTask is a fake of the container agent of an ECS task: an http.Handler for ECS_AGENT_URI, and an http.RoundTripper
// for a client without a socket, under testing/synctest. The zero value is ready. All methods may be called from any
// goroutine.
type ECSTask struct {
	// Fault, if not nil, is called before each call; if it returns an error, the agent answers with that and status 500.
	Fault func() error
	// Standalone means that the task belongs to no service, and cannot be protected.
	Standalone bool

	mu      sync.Mutex
	until   time.Time // protected until then
	updates int
}

// Protected reports whether the task is protected from scale-in.
func (e *ECSTask) Protected() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Now().Before(e.until)
}

// Updates counts the calls that have set the protection.
func (e *ECSTask) Updates() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.updates
}

// RoundTrip implements http.RoundTripper.
func (e *ECSTask) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Result(), nil
}

const arn = "arn:aws:ecs:us-east-1:123456789012:task/cluster/1234567890abcdef0"

// ServeHTTP is the task scale-in protection endpoint, GET and PUT /…/task-protection/v1/state.
func (e *ECSTask) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, code, message string) {
		ecsJSON(w, status, map[string]any{"requestID": "draintest", "error": map[string]string{"Arn": arn, "Code": code, "Message": message}})
	}
	if !strings.HasSuffix(r.URL.Path, "/task-protection/v1/state") {
		http.NotFound(w, r)
		return
	}
	if e.Fault != nil {
		if err := e.Fault(); err != nil {
			fail(http.StatusInternalServerError, "ServerException", err.Error())
			return
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Standalone {
		ecsJSON(w, http.StatusOK, map[string]any{"failure": map[string]any{"Arn": arn, "Detail": nil, "Reason": "TASK_NOT_VALID"}})
		return
	}
	if r.Method == http.MethodPut {
		var req struct {
			ProtectionEnabled *bool
			ExpiresInMinutes  *int
		}
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&req); err != nil || req.ProtectionEnabled == nil {
			fail(http.StatusBadRequest, "InvalidParameterException", fmt.Sprint("no ProtectionEnabled: ", err))
			return
		}
		minutes := 120
		if req.ExpiresInMinutes != nil {
			minutes = *req.ExpiresInMinutes
		}
		if minutes < 1 || minutes > 2880 {
			fail(http.StatusBadRequest, "InvalidParameterException", "ExpiresInMinutes: 1 to 2880")
			return
		}
		e.updates++
		e.until = time.Time{}
		if *req.ProtectionEnabled {
			e.until = time.Now().Add(time.Duration(minutes) * time.Minute)
		}
	}
	p := map[string]any{"ProtectionEnabled": time.Now().Before(e.until), "ExpirationDate": nil, "TaskArn": arn}
	if time.Now().Before(e.until) {
		p["ExpirationDate"] = e.until.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	ecsJSON(w, http.StatusOK, map[string]any{"protection": p})
}

func ecsJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}
