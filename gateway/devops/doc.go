// Package devops is POST /devops/piggyback[/{service}[/{instance}]]: it reads the envelope, decides who executes the inner
// command, asks for it, and wraps the outcome (contract piggyback.md 1, decisions D2–D8, D11, D14, D15, D18).
//
// What is wrong with the envelope is answered with its own HTTP status and a bare E1; what is wrong with the inner command,
// and everything its target says, is inside an HTTP 200. /devops/logging and /devops/config are not there yet.
//
// Read first: Handler (piggyback.go: the journey of one request), envelope (envelope.go), headers.go, outcome.go.
package devops
