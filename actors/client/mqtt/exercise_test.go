package mqtt_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"hawser/actors/client/clienttest"
	"hawser/actors/client/mqtt"
	"hawser/actors/client/mqttbinding"
	"hawser/messages"
)

func TestMain(m *testing.M) {
	if os.Getenv("LOAD") != "" { // the load generator of BenchmarkRelay
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

func TestExercise(t *testing.T) {
	factory := mqtt.Factory(mqttbinding.Config{})
	clienttest.Exercise(t, clienttest.Features{
		Broker: func(t testing.TB) clienttest.Server { return clienttest.Mosquitto(t, clienttest.MosquittoOptions{}) },
		Connection: func(t testing.TB, uri, id, source string) *messages.Connection {
			return clienttest.MQTTConnection(t, messages.TypeMQTT, uri, id, 1, source)
		},
	}, factory)
	clienttest.ExerciseMQTT(t, messages.TypeMQTT, factory)
}
