// Package ingest takes records off the network.
package ingest
