package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hawser/messages"
)

// askOne asks an instance for itself, within ten seconds.
func (m *member) askOne(instance, selection, members string) (messages.Reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := messages.ParseCommand([]byte(members), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return m.AskInstance(ctx, instance, selection, c)
}

const healthCommand = `{"type":"status.commands:retrieveHealth"}`

func TestANodeAnswersForItself(t *testing.T) {
	m := startAlone(t)
	if got := fmt.Sprint(m.Instances()); got != "[alone]" {
		t.Errorf("instances %s", got)
	}
	reply, err := m.askOne("alone", messages.TargetPersistenceCleanup, healthCommand)
	if err != nil || !strings.Contains(string(reply.Body), `"state":"IN_QUIET_PERIOD"`) {
		t.Errorf("%s %v", reply.Body, err)
	}
	for name, row := range map[string]struct {
		instance, selection, command string
		want                         error
	}{
		"unknown instance":  {"nobody", messages.TargetPersistenceCleanup, healthCommand, messages.ErrInstanceNotFound},
		"unknown selection": {"alone", "/user/nobody", healthCommand, messages.ErrTargetNotFound},
		"another command":   {"alone", messages.TargetPersistenceCleanup, `{"type":"connectivity.commands:retrieveAllConnectionIds"}`, messages.ErrNotTaken},
	} {
		if _, err := m.askOne(row.instance, row.selection, row.command); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
	// Targets of the node are no business of Ask, nor the other way round.
	if _, err := m.Ask(t.Context(), messages.TargetPersistenceCleanup, command(t, map[string]any{"type": messages.RetrieveHealth})); !errors.Is(err, messages.ErrTargetNotFound) {
		t.Errorf("Ask: %v", err)
	}
	if s := m.share(); s.Index != 0 || s.Of != 1 {
		t.Errorf("share %+v", s)
	}
}

func TestNodesAnswerEachOther(t *testing.T) {
	here, there := pair(t, "")
	if got := fmt.Sprint(here.Instances()); got != "[here there]" {
		t.Errorf("instances %s", got)
	}
	if s := here.share(); s.Of != 2 {
		t.Errorf("share %+v", s)
	}
	change := `{"type":"common.commands:modifyConfig","config":{"interval":"7s"}}`
	if reply, err := here.askOne("there", messages.TargetPersistenceCleanup, change); err != nil || !strings.Contains(string(reply.Body), `"interval":7000`) {
		t.Errorf("%s %v", reply.Body, err)
	}
	read := `{"type":"common.commands:retrieveConfig","path":"interval"}`
	for instance, want := range map[string]string{"here": `"config":10000`, "there": `"config":7000`} {
		if reply, err := here.askOne(instance, messages.TargetPersistenceCleanup, read); err != nil || reply.Status != 200 || !strings.Contains(string(reply.Body), want) {
			t.Errorf("%s: %s %v, want %s", instance, reply.Body, err, want)
		}
	}
	bad := `{"type":"common.commands:modifyConfig","config":{"interval":"-7s"}}`
	if reply, err := here.askOne("there", messages.TargetPersistenceCleanup, bad); err != nil || reply.Status != 400 {
		t.Errorf("%s %v", reply.Body, err)
	}
	if _, err := here.askOne("there", "/user/of/a/newer/version", healthCommand); !errors.Is(err, messages.ErrTargetNotFound) {
		t.Errorf("a selection that the other does not know: %v", err)
	}
	// A node that is lost does not hold anybody up, and is nobody's instance as soon as it is buried.
	_ = there.cmd.Process.Kill()
	<-there.exited
	began := time.Now()
	if _, err := here.askOne("there", messages.TargetPersistenceCleanup, healthCommand); err == nil {
		t.Error("a dead node answered")
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("a dead node was waited for %v", took)
	}
	eventually(t, 15*time.Second, "the dead one is not listed", func() error {
		if got := here.Instances(); len(got) != 1 {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	if _, err := here.askOne("there", messages.TargetPersistenceCleanup, healthCommand); !errors.Is(err, messages.ErrInstanceNotFound) {
		t.Errorf("%v", err)
	}
}
