// Package clienttest is what every transport must pass (Exercise), and the real brokers that tests run against
// (Mosquitto). It imports actors/client and messages only.
//
// Read first: Features and Exercise (exercise.go), then the cases (cases.go).
package clienttest
