module github.com/penstock-go/penstock/internal/test/page

go 1.26.7

replace github.com/penstock-go/penstock => ../../..

require (
	github.com/chromedp/cdproto v0.159.0
	github.com/chromedp/chromedp v0.23.0
)

require github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
