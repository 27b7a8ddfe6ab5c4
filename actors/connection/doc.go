// Package connection is the connection entity: one actor per connection id that keeps the journal of what operators
// asked for, and runs the broker clients that follow from it (contract piggyback.md 2–6, operations.md 1, decisions D1,
// D7, D13, D14, D16, D17, O2–O5).
//
// Decide and Evolve are pure and hold the rules: Decide(state, command) answers with a staged list of effects — persist,
// reply, open, close, … — and Evolve(state, event) is the state after an event. The actor (actor.go) is the shell that
// runs effects in order and never waits on its own goroutine for anything but the journal. testdata/*.txt shows commands
// going in and effects coming out.
//
// With clientCount > 1 the entity runs client 0 and has the further ones run at other nodes, each under an actor of its own
// (further.go: what they are asked and answer; further_actor.go): they read the journal for themselves and only take growing
// revisions.
//
// It may import messages, persistence, actors/client and actors/monitor; protoactor's actor package is its runtime.
//
// Read first: State and Evolve (state.go, evolve.go), Effect (effect.go), Decide (decide.go), then Deps and Props
// (actor.go).
package connection
