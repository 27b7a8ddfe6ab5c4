package blackbox

import (
	"testing"

	"hawser/actors/client/clienttest"
)

// mosquitto starts a private broker for one test and returns its URI.
func mosquitto(t testing.TB) string { return startMosquitto(t).URI() }

func startMosquitto(t testing.TB) *clienttest.Broker {
	t.Helper()
	return clienttest.Mosquitto(t, clienttest.MosquittoOptions{})
}

// mosquittoWithPassword starts a broker that wants a user.
func mosquittoWithPassword(t testing.TB) (uri, user, password string) {
	t.Helper()
	return clienttest.Mosquitto(t, clienttest.MosquittoOptions{User: "box", Password: "right-pass-word"}).URI(), "box", "right-pass-word"
}
