package cli

import (
	"errors"
	"net/url"
	"strings"
)

var errPageURL = errors.New("it is no URL of a page such as http://127.0.0.1:8080, without a user, a query or a fragment")

// PageURL parses the URL of another program's page. Messages show such a URL, so it cannot contain a password, and the error does not
// contain what was given.
func PageURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || strings.ContainsAny(raw, "?#") {
		return nil, errPageURL
	}
	return u, nil
}
