package mqtt_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"hawser/actors/client/clienttest"
	"hawser/actors/client/mqtt"
	"hawser/messages"
)

func TestMain(m *testing.M) {
	if os.Getenv("LOAD") != "" { // the load generator of BenchmarkRelay
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

func TestExercise(t *testing.T) {
	clienttest.Exercise(t, clienttest.Features{
		Broker: func(t testing.TB) clienttest.Server { return clienttest.Mosquitto(t, clienttest.MosquittoOptions{}) },
		Connection: func(t testing.TB, uri, id, source string) *messages.Connection {
			return connection(t, uri, id, 1, source)
		},
	}, mqtt.Factory(mqtt.Config{}))
}

// connection is an MQTT connection with one source for each of addresses that is not "".
func connection(t testing.TB, uri, id string, qos int, addresses ...string) *messages.Connection {
	t.Helper()
	u, err := messages.ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	c := &messages.Connection{
		ID: id, Type: messages.TypeMQTT, Status: messages.StatusOpen, URI: u, ClientCount: 1, ValidateCertificates: true, SpecificConfig: map[string]string{},
	}
	for _, a := range addresses {
		if a != "" {
			c.Sources = append(c.Sources, messages.Source{Addresses: []string{a}, ConsumerCount: 1, QoS: &qos})
		}
	}
	return c
}
