package status

import "github.com/penstock-go/penstock/internal/scrub"

// maxText bounds an error text. Errors of stores can hold a whole answer.
const maxText = 1000

// Clean makes a text fit to be shown as this package shows all: in one line, without credentials and control characters, and not
// too long. It is for a program that shows errors of its own beside the page, to those who may see the page.
func Clean(s string) string { return scrub.Text(s, maxText) }

// text is the scrubbed text of an error; "" for nil.
func text(err error) string {
	if err == nil {
		return ""
	}
	return Clean(err.Error())
}
