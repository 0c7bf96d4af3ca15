// Package page looks at the collector's status page with Chromium while a real pipeline runs, loses a destination, fills its
// disk and drains. It is a module of its own, so that nobody else has its dependencies.
//
// The test needs Chromium and the npm package axe-core: without them it is skipped, and in CI it fails. With PENSTOCK_SHOTS it
// writes a screenshot of each situation, in both themes and at the width of a phone, into that directory: look at them after a
// change of the page.
package page
