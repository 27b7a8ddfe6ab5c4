// Package devops is what an operator reaches below /devops: piggyback[/{service}[/{instance}]] reads an envelope, decides
// who executes the inner command, asks for it, and wraps the outcome (contract piggyback.md 1, decisions D2–D8, D11, D14,
// D15, D18); logging and config ask every instance for itself (piggyback.md 1.9).
//
// What is wrong with the envelope is answered with its own HTTP status and a bare E1; what is wrong with the inner command,
// and everything its target says, is inside an HTTP 200.
//
// Read first: Handler (piggyback.go: the journey of one request), collect.go (targets that every node has), outcome.go (what
// is sent back), envelope.go, headers.go. Levels (levels.go) are the log levels of a process, by name of the logger.
package devops
