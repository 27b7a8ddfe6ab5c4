package mqtt5_test

import (
	"testing"

	"go.uber.org/goleak"

	"hawser/actors/client/clienttest"
	"hawser/actors/client/mqtt5"
	"hawser/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExercise(t *testing.T) {
	factory := mqtt5.Factory(mqtt5.Config{})
	clienttest.Exercise(t, clienttest.Features{
		Broker: func(t testing.TB) clienttest.Server { return clienttest.Mosquitto(t, clienttest.MosquittoOptions{}) },
		Connection: func(t testing.TB, uri, id, source string) *messages.Connection {
			return clienttest.MQTTConnection(t, messages.TypeMQTT5, uri, id, 1, source)
		},
	}, factory)
	clienttest.ExerciseMQTT(t, messages.TypeMQTT5, factory)
}
