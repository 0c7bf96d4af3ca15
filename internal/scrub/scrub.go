// Package scrub prepares texts that leave the process other than in its log: on pages, or in the states of other services.
package scrub

import (
	"regexp"
	"strings"
	"unicode"
)

// secrets match the parts of texts that may be credentials. The first group is kept.
var secrets = []*regexp.Regexp{
	regexp.MustCompile(`(?i)([a-z][a-z0-9+.-]*://)[^/\s?#"'@]*@`), // user and password before a host
	regexp.MustCompile(`(?i)\b((?:x-amz-(?:signature|credential|security-token)|awsaccesskeyid|signature|sig|password|passwd|passphrase|secret|` +
		`secret_?(?:access_?)?key|access_?key(?:_?id)?|session_?token|security_?token|auth_?token|api_?key|token)["']?\s*[=:]\s*["']?)[^\s&"',;)}\]]+`),
	regexp.MustCompile(`(?i)\b(authorization["']?\s*[=:]\s*["']?)[^\r\n"']+`),
	regexp.MustCompile(`(?i)\b(bearer\s+)[a-z0-9._~+/=-]{8,}`),
	regexp.MustCompile(`()\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b`), // the id of an AWS key
	regexp.MustCompile(`(?s)()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`),
}

// Text returns a text in one line, without credentials and control characters, of at most most bytes plus a mark if it was cut.
// It also removes parts that only look like credentials.
func Text(s string, most int) string {
	for _, re := range secrets {
		s = re.ReplaceAllString(s, "${1}…")
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r) && r != ' ':
			return '·'
		}
		return r
	}, strings.ToValidUTF8(s, "·"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
