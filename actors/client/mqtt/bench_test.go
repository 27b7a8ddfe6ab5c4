package mqtt_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"hawser/actors/client"
	"hawser/actors/client/clienttest"
	"hawser/actors/client/mqtt"
	"hawser/actors/client/mqttbinding"
	"hawser/messages"
)

// The benchmarks compare the transport with bare paho, both against a private Mosquitto on the same machine: only the
// ratio within one run means something. The load of BenchmarkRelay comes from a process of its own.

// inbox is a handler that keeps messages; what else it is told does not matter here.
type inbox chan *client.Inbound

func (i inbox) Consume(in *client.Inbound)             { i <- in }
func (inbox) Dropped(string)                           {}
func (inbox) Lost(error)                               {}
func (inbox) Interrupted(error)                        {}
func (inbox) Recovered()                               {}
func (inbox) ResourceStatus(_ messages.ResourceStatus) {}

// forward publishes what it consumes and settles it with the outcome.
type forward struct {
	inbox
	publish func(client.Outbound, func(client.Outcome))
}

func (f *forward) Consume(in *client.Inbound) {
	f.publish(client.Outbound{Address: "y", QoS: 1, Bytes: in.Bytes}, func(client.Outcome) { in.Settle(client.Settle) })
}

func transport(b *testing.B, uri, id, source string, h client.Handler) client.Transport {
	b.Helper()
	d := client.NewDialer(client.HostRules{})
	t, err := mqtt.Factory(mqttbinding.Config{})(clienttest.MQTTConnection(b, messages.TypeMQTT, uri, id, 1, source), client.Environment{Dial: d.Dial}, h)
	if err != nil {
		b.Fatal(err)
	}
	if err := t.Open(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = t.Close(ctx)
	})
	return t
}

func bare(b testing.TB, uri, id string) paho.Client {
	b.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker(uri).SetClientID(id))
	if t := c.Connect(); !t.WaitTimeout(10*time.Second) || t.Error() != nil {
		b.Fatal(t.Error())
	}
	b.Cleanup(func() { c.Disconnect(100) })
	return c
}

// BenchmarkRelay is one source and one target of two clients, as a relay has them.
func BenchmarkRelay(b *testing.B) {
	broker := clienttest.Mosquitto(b, clienttest.MosquittoOptions{})
	for _, window := range []int{1, 200} {
		for name, start := range map[string]func(b *testing.B){
			"hawser": func(b *testing.B) {
				f := &forward{}
				f.publish = transport(b, broker.URI(), "to", "", f).Publish
				transport(b, broker.URI(), "from", "x", f)
			},
			"bare-paho": func(b *testing.B) {
				to, from := bare(b, broker.URI(), "bare-to"), bare(b, broker.URI(), "bare-from")
				from.Subscribe("x", 1, func(_ paho.Client, m paho.Message) { to.Publish("y", 1, false, m.Payload()) }).Wait()
			},
		} {
			b.Run(fmt.Sprintf("%s/window=%d", name, window), func(b *testing.B) {
				start(b)
				cmd := exec.Command(os.Args[0], "-test.run", "^TestLoad$")
				cmd.Env = append(os.Environ(), fmt.Sprintf("LOAD=%d %d", b.N, window), "BROKER="+broker.URI())
				began := cpu()
				b.ResetTimer()
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
				b.ReportMetric(float64((cpu()-began).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
			})
		}
	}
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// TestLoad is the load generator of BenchmarkRelay: it does nothing on its own.
func TestLoad(t *testing.T) {
	var n, window int
	if _, err := fmt.Sscan(os.Getenv("LOAD"), &n, &window); err != nil {
		return
	}
	c := bare(t, os.Getenv("BROKER"), "load")
	var got atomic.Int64
	free, done := make(chan struct{}, window), make(chan struct{})
	c.Subscribe("y", 1, func(paho.Client, paho.Message) {
		<-free
		if got.Add(1) == int64(n) {
			close(done)
		}
	}).Wait()
	payload := make([]byte, 160)
	for range n {
		free <- struct{}{}
		c.Publish("x", 1, false, payload)
	}
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		t.Fatalf("%d of %d arrived", got.Load(), n)
	}
}

// BenchmarkPublish is QoS 1 with a window of 500.
func BenchmarkPublish(b *testing.B) {
	uri := clienttest.Mosquitto(b, clienttest.MosquittoOptions{}).URI()
	payload := make([]byte, 160)
	b.Run("hawser", func(b *testing.B) {
		t := transport(b, uri, "publisher", "", inbox(nil))
		b.ReportAllocs()
		free := make(chan struct{}, 500)
		b.ResetTimer()
		for range b.N {
			free <- struct{}{}
			t.Publish(client.Outbound{Address: "nobody", QoS: 1, Bytes: payload}, func(client.Outcome) { <-free })
		}
		for range cap(free) {
			free <- struct{}{}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	})
	b.Run("bare-paho", func(b *testing.B) {
		c := bare(b, uri, "bare")
		b.ReportAllocs()
		tokens := make(chan paho.Token, 500)
		end := make(chan struct{})
		go func() {
			defer close(end)
			for t := range tokens {
				t.Wait()
			}
		}()
		b.ResetTimer()
		for range b.N {
			tokens <- c.Publish("nobody", 1, false, payload)
		}
		close(tokens)
		<-end
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	})
}

// BenchmarkConsume takes in and acknowledges what a session has waiting.
func BenchmarkConsume(b *testing.B) {
	broker := clienttest.Mosquitto(b, clienttest.MosquittoOptions{MaxInflight: 200})
	uri := broker.URI()
	fill := func(b *testing.B, id string) {
		c := paho.NewClient(paho.NewClientOptions().AddBroker(uri).SetClientID(id).SetCleanSession(false))
		c.Connect().Wait()
		c.Subscribe("q/"+id, 1, nil).Wait()
		c.Disconnect(200)
		p := transport(b, uri, "fill", "", inbox(nil))
		free := make(chan struct{}, 500)
		for range b.N {
			free <- struct{}{}
			p.Publish(client.Outbound{Address: "q/" + id, QoS: 1, Bytes: make([]byte, 160)}, func(client.Outcome) { <-free })
		}
		for range cap(free) {
			free <- struct{}{}
		}
	}
	var run atomic.Int64
	b.Run("hawser", func(b *testing.B) {
		id := "h" + strconv.FormatInt(run.Add(1), 10)
		fill(b, id)
		in := make(inbox, 100)
		b.ReportAllocs()
		b.ResetTimer()
		transport(b, uri, id, "q/"+id, in)
		for range b.N {
			(<-in).Settle(client.Settle)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	})
	b.Run("bare-paho", func(b *testing.B) {
		id := "p" + strconv.FormatInt(run.Add(1), 10)
		fill(b, id)
		in := make(chan struct{}, 100)
		b.ReportAllocs()
		b.ResetTimer()
		o := paho.NewClientOptions().AddBroker(uri).SetClientID(id).SetCleanSession(false)
		o.SetDefaultPublishHandler(func(paho.Client, paho.Message) { in <- struct{}{} })
		c := paho.NewClient(o)
		c.Connect().Wait()
		for range b.N {
			<-in
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		c.Disconnect(100)
	})
}
