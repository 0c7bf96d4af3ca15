package status

import "github.com/penstock-go/penstock/internal/scrub"

// maxText bounds an error text. Errors of object stores can contain a whole response.
const maxText = 1000

// Clean makes a text safe to show, as this package does with all texts: in one line, without credentials and control characters,
// and not too long. A program needs it if it shows its own errors to anyone who may see the page.
func Clean(s string) string { return scrub.Text(s, maxText) }

// text returns the scrubbed text of an error; "" for nil.
func text(err error) string {
	if err == nil {
		return ""
	}
	return Clean(err.Error())
}
