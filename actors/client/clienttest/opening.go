package clienttest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"hawser/actors/client"
	"hawser/messages"
)

// Opening is a transport on its own whose Open runs while the test plays the broker (FakeBroker). It takes down what the
// transport reports.
type Opening struct {
	client.Transport
	Received chan *client.Inbound // what Consume took
	Dialer   *client.Dialer

	t        *testing.T
	events   chan string
	result   chan error
	returned chan struct{} // closed when Open has returned
}

// Open begins Open. The end of the test closes the transport.
func Open(t *testing.T, factory client.Factory, c *messages.Connection, change ...func(*client.Environment)) *Opening {
	t.Helper()
	return OpenWithin(t, 20*time.Second, factory, c, change...)
}

// OpenWithin is Open with a limit.
func OpenWithin(t *testing.T, limit time.Duration, factory client.Factory, c *messages.Connection, change ...func(*client.Environment)) *Opening {
	t.Helper()
	o := &Opening{
		Received: make(chan *client.Inbound, 4096), Dialer: client.NewDialer(client.HostRules{}),
		t: t, events: make(chan string, 4096), result: make(chan error, 1), returned: make(chan struct{}),
	}
	env := client.Environment{Dial: o.Dialer.Dial}
	for _, f := range change {
		f(&env)
	}
	var err error
	if o.Transport, err = factory(c, env, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Dialer.CloseAll(); o.Shut(time.Second) })
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		defer close(o.returned)
		o.result <- o.Transport.Open(ctx)
	}()
	return o
}

// Consume implements client.Handler: it waits for Open to return, as that of the Runner does.
func (o *Opening) Consume(in *client.Inbound) {
	<-o.returned
	o.Received <- in
}

// Dropped implements client.Handler.
func (o *Opening) Dropped(address string) { o.events <- "dropped: " + address }

// Lost implements client.Handler.
func (o *Opening) Lost(err error) { o.events <- "lost: " + err.Error() }

// Interrupted implements client.Handler.
func (o *Opening) Interrupted(err error) { o.events <- "interrupted: " + err.Error() }

// Recovered implements client.Handler.
func (o *Opening) Recovered() { o.events <- "recovered" }

// ResourceStatus implements client.Handler.
func (o *Opening) ResourceStatus(s messages.ResourceStatus) { o.events <- fmt.Sprint(s) }

// Err is what Open returned.
func (o *Opening) Err() error {
	o.t.Helper()
	select {
	case err := <-o.result:
		return err
	case <-time.After(30 * time.Second):
		o.t.Fatal("Open does not return")
		return nil
	}
}

// OK expects that Open succeeds.
func (o *Opening) OK() {
	o.t.Helper()
	if err := o.Err(); err != nil {
		o.t.Fatalf("open: %v", err)
	}
}

// Shut closes the transport.
func (o *Opening) Shut(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_ = o.Close(ctx)
}

// Next is the next message.
func (o *Opening) Next() *client.Inbound {
	o.t.Helper()
	select {
	case in := <-o.Received:
		return in
	case <-time.After(20 * time.Second):
		o.t.Fatal("no message")
		return nil
	}
}

// Event is what the transport reported next: "lost: …", "interrupted: …", "recovered", "dropped: …".
func (o *Opening) Event() string {
	o.t.Helper()
	select {
	case e := <-o.events:
		return e
	case <-time.After(20 * time.Second):
		o.t.Fatal("nothing is reported")
		return ""
	}
}

// Send publishes and returns the outcome to come.
func (o *Opening) Send(m client.Outbound) chan client.Outcome {
	outcome := make(chan client.Outcome, 1)
	o.Publish(m, func(out client.Outcome) { outcome <- out })
	return outcome
}

// Await is the outcome of a Send.
func Await(t *testing.T, outcome chan client.Outcome) client.Outcome {
	t.Helper()
	select {
	case o := <-outcome:
		return o
	case <-time.After(20 * time.Second):
		t.Fatal("no outcome")
		return client.Outcome{}
	}
}
