// Package demo shows a running node at work, as an operator would use it: it creates and opens two connections through
// the node's own HTTP API, prints each request as the curl that does the same, publishes to an in-process MQTT broker and
// prints what arrives on the other side. It knows the node by its URL only.
//
// Read first: Run (demo.go), Broker (broker.go).
package demo
