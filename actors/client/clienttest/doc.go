// Package clienttest is what every transport must pass (Exercise; ExerciseMQTT for both versions of MQTT), the real brokers
// that tests run against (Mosquitto), and what a test needs that plays the broker itself (FakeBroker, Opening). It imports
// actors/client and messages only.
//
// Read first: Features and Exercise (exercise.go), then the cases (cases.go, mqtt.go).
package clienttest
