// Command dashboard writes the Grafana dashboard of Penstock as JSON: go run . > ../dashboard.json
//
// The dashboard is code so that its tests can read it: Prometheus' own parser accepts every expression, and every metric that one
// uses is exported by package monitor or by audit serve. Change it here, not in the JSON.
package main
