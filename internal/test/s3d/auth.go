package s3d

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Of the signing rules; maxSkew is S3's.
const (
	signingAlgorithm = "AWS4-HMAC-SHA256"
	amzTime          = "20060102T150405Z"
	maxSkew          = 15 * time.Minute
)

// signature is a verified one. The chunks of a streaming body are signed with its key, each over the one before it.
type signature struct {
	key   []byte
	time  string // x-amz-date
	scope string // DATE/REGION/s3/aws4_request
	value string // hex
}

// authenticate verifies the Authorization header (Signature Version 4).
func (s *Server) authenticate(r *http.Request) (*signature, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return nil, fail(http.StatusForbidden, "AccessDenied", "Anonymous access is not allowed: sign the request in its Authorization header.")
	}
	fields, ok := strings.CutPrefix(header, signingAlgorithm+" ")
	if !ok {
		return nil, fail(http.StatusBadRequest, "InvalidArgument", "Unsupported Authorization type: only %s is.", signingAlgorithm)
	}
	var credential, signed, given string
	for f := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(f), "=")
		switch name {
		case "Credential":
			credential = value
		case "SignedHeaders":
			signed = value
		case "Signature":
			given = value
		}
	}
	access, scope, _ := strings.Cut(credential, "/")
	date := r.Header.Get("x-amz-date")
	if err := s.checkScope(access, scope, date); err != nil {
		return nil, err
	}
	// Anybody on the way could have changed or added a header that was not signed.
	names := strings.Split(signed, ";")
	if err := checkSigned(r, names); err != nil {
		return nil, err
	}
	canonical, err := canonicalRequest(r, names)
	if err != nil {
		return nil, err
	}
	sig := &signature{time: date, scope: scope, key: signingKey(s.o.SecretKey, scope)}
	sig.value = sig.sign(signingAlgorithm, sumHex([]byte(canonical)))
	if !hmac.Equal([]byte(sig.value), []byte(given)) {
		return nil, errSignature
	}
	return sig, nil
}

// checkScope checks the signer, the scope and the time of a signature.
func (s *Server) checkScope(access, scope, date string) error {
	if access != s.o.AccessKey {
		return fail(http.StatusForbidden, "InvalidAccessKeyId", "The access key id does not exist in our records.")
	}
	parts := strings.Split(scope, "/")
	if len(parts) != 4 || parts[2] != "s3" || parts[3] != "aws4_request" {
		return fail(http.StatusBadRequest, "AuthorizationHeaderMalformed", "The credential is not KEY/DATE/REGION/s3/aws4_request.")
	}
	if parts[1] != s.o.Region {
		return fail(http.StatusBadRequest, "AuthorizationHeaderMalformed", "The region %q is wrong; expecting %q.", parts[1], s.o.Region)
	}
	t, err := time.Parse(amzTime, date)
	if err != nil || !strings.HasPrefix(date, parts[0]) {
		return fail(http.StatusForbidden, "AccessDenied", "The x-amz-date header is missing or does not fit the credential.")
	}
	if d := s.now().Sub(t); d > maxSkew || d < -maxSkew {
		return fail(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the server's is too large.")
	}
	return nil
}

// checkSigned refuses a request if anything that changes its meaning is not signed.
func checkSigned(r *http.Request, names []string) error {
	if !slices.Contains(names, "host") {
		return fail(http.StatusForbidden, "AccessDenied", "The host header must be signed.")
	}
	for name := range r.Header {
		if n := strings.ToLower(name); strings.HasPrefix(n, "x-amz-") && !slices.Contains(names, n) {
			return fail(http.StatusForbidden, "AccessDenied", "There is a header that was not signed: %s.", n)
		}
	}
	return nil
}

// canonicalRequest is the text that a signature is made over: method, path, query, the signed headers and the payload's
// hash, each in the one form that both sides agree on.
func canonicalRequest(r *http.Request, names []string) (string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", fail(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.")
	}
	// Sorted by escaped name first: sorting whole pairs would put "a-b=" ahead of "a=".
	pairs := map[string][]string{}
	for k, values := range query {
		name := escape(k, false)
		for _, v := range values {
			pairs[name] = append(pairs[name], name+"="+escape(v, false))
		}
	}
	var sorted []string
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		slices.Sort(pairs[name])
		sorted = append(sorted, pairs[name]...)
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + escape(r.URL.Path, true) + "\n" + strings.Join(sorted, "&") + "\n")
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		switch name { // net/http takes these out of the header
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		case "transfer-encoding":
			value = strings.Join(r.TransferEncoding, ",")
		}
		b.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	b.WriteString("\n" + strings.Join(names, ";") + "\n" + r.Header.Get("x-amz-content-sha256"))
	return b.String(), nil
}

// escape is the UriEncode of the signing rules: everything but the unreserved characters, in upper-case hex.
func escape(s string, path bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0, path && c == '/':
			b.WriteByte(c)
		default:
			b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
	}
	return b.String()
}

// sign signs the given lines, which follow algorithm, time and scope.
func (s *signature) sign(algorithm string, lines ...string) string {
	text := algorithm + "\n" + s.time + "\n" + s.scope + "\n" + strings.Join(lines, "\n")
	return hex.EncodeToString(mac(s.key, text))
}

// signingKey derives the key of a day, region and service from the secret.
func signingKey(secret, scope string) []byte {
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	return key
}

// mac is HMAC-SHA-256.
func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// sumHex is a SHA-256 in hex.
func sumHex(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
