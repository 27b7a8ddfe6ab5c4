// Package status is what operators and their tools ask a node about itself: on addresses of their own and without
// authentication the management endpoints /alive, /ready and /cluster/members (contract operations.md 7.1) and the
// Prometheus listener (operations.md 9); on the API's address /health, /status…, /overall/status… and /stats/… (http-api.md 10).
//
// Read first: Probe and Management (management.go), Views (views.go), StatusInfo (health.go), Stats (stats.go), Metrics
// (metrics.go).
package status
