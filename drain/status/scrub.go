package status

import "github.com/penstock-go/penstock/internal/scrub"

// maxText bounds an error text. Errors of stores can hold a whole answer.
const maxText = 1000

// clean makes a text fit to be shown.
func clean(s string) string { return scrub.Text(s, maxText) }

// text is the scrubbed text of an error; "" for nil.
func text(err error) string {
	if err == nil {
		return ""
	}
	return clean(err.Error())
}
