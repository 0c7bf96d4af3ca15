// Package guide tests internal/docs/guide: it runs the commands of each page in their order, compares what they print with what
// the page shows, and gives each configuration to the program that it is for. It contains only tests.
//
// How a page marks its blocks is in page_test.go.
package guide
