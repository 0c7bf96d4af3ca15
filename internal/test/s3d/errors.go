package s3d

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
)

// apiError is an answer of the S3 protocol that is not a success.
type apiError struct {
	Status  int
	Code    string
	Message string
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message) }

// fail makes an answer with one of the codes of the API reference.
func fail(status int, code, format string, args ...any) *apiError {
	return &apiError{status, code, fmt.Sprintf(format, args...)}
}

// The answers that are given in more than one place.
var (
	errNoSuchKey    = fail(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	errNoSuchBucket = fail(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist.")
	errNoSuchUpload = fail(http.StatusNotFound, "NoSuchUpload", "The specified upload does not exist: aborted or completed.")
	errPrecondition = fail(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the preconditions did not hold: If-None-Match.")
	errSignature    = fail(http.StatusForbidden, "SignatureDoesNotMatch", "The signature does not match the one computed from your secret key.")
	errIncomplete   = fail(http.StatusBadRequest, "IncompleteBody", "The body is shorter than announced.")
	errUnsupported  = fail(http.StatusNotImplemented, "NotImplemented", "This small server does not implement the request.")
)

// xmlError is the body of an error answer.
type xmlError struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string   `xml:"Code"`
	Message   string   `xml:"Message"`
	Resource  string   `xml:"Resource"`
	RequestID string   `xml:"RequestId"`
}

// answerError writes err in the protocol's format. An error that is not an apiError is our own failure: it is logged in full
// and answered without details.
func (s *Server) answerError(w http.ResponseWriter, r *http.Request, err error) {
	var e *apiError
	if !errors.As(err, &e) {
		s.o.Logger.Error("s3d request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		e = fail(http.StatusInternalServerError, "InternalError", "The server could not do it; its log says why.")
	} else {
		s.o.Logger.Debug("s3d request refused", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	if r.Method == http.MethodHead { // has no body: the status must do
		w.WriteHeader(e.Status)
		return
	}
	writeXML(w, e.Status, xmlError{Code: e.Code, Message: e.Message, Resource: r.URL.Path, RequestID: w.Header().Get("x-amz-request-id")})
}

// writeXML answers with a document. It sends the status first, so that the client has it whatever happens to the body.
func writeXML(w http.ResponseWriter, status int, v any) {
	b, err := xml.Marshal(v)
	if err != nil { // only plain structs come here
		panic(err)
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write(append([]byte(xml.Header), b...)) // the client has gone if this fails
}
