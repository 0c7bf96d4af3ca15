// Package page checks the collector's status page with Chromium while a real pipeline runs, loses a destination, fills its disk
// and drains. It is a separate module, so that no other package has its dependencies.
//
// The test needs Chromium and the npm package axe-core. Without them it is skipped; in CI it fails. With PENSTOCK_SHOTS it
// writes a screenshot of each situation, in both themes and at the width of a phone, into that directory: look at them after a
// change of the page.
package page
