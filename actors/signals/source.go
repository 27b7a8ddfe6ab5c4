package signals

import (
	"fmt"
	"slices"

	"hawser/actors/monitor"
	"hawser/messages"
	"hawser/messages/placeholder"
)

// source is a compiled messages.Source.
type source struct {
	scopes       map[string]*monitor.Scope // by address
	subjects     []string                  // when none has a placeholder
	templates    []*placeholder.Template   // else
	subjectError *messages.Error           // a subject that does not compile: validation does not look at them
	enforcement  *enforcement
	payload      []string
	headers      headerMapping
	includes     []string
	ackFilter    *placeholder.Pipeline
	filterError  *messages.Error // likewise of acknowledgementRequests.filter
	declared     []string
	reply        *replyTarget // nil: responses are dropped
}

type enforcement struct {
	input   *placeholder.Template
	filters []*placeholder.Template
}

type replyTarget struct {
	text     string
	address  *placeholder.Template // nil: does not compile, never resolves
	headers  headerMapping
	expected []string
}

func compileSource(s messages.Source, connectionID string) (*source, error) {
	c := &source{
		scopes: map[string]*monitor.Scope{}, payload: s.PayloadMapping, headers: compileHeaders(s.HeaderMapping).inbound(),
	}
	constant := true
	for _, subject := range s.AuthorizationContext {
		t, err := placeholder.Compile(subject)
		if err != nil {
			c.subjectError = newUnresolved(subject)
			continue
		}
		c.templates = append(c.templates, t)
		text, ok := t.Constant()
		constant = constant && ok
		c.subjects = append(c.subjects, text)
	}
	if !constant {
		c.subjects = nil
	}
	if s.Enforcement != nil {
		input, err := placeholder.Compile(s.Enforcement.Input)
		if err != nil {
			return nil, fmt.Errorf("enforcement input: %w", err)
		}
		c.enforcement = &enforcement{input: input}
		for _, filter := range s.Enforcement.Filters {
			t, err := placeholder.Compile(filter)
			if err != nil {
				return nil, fmt.Errorf("enforcement filter: %w", err)
			}
			c.enforcement.filters = append(c.enforcement.filters, t)
		}
	}
	if r := s.AcknowledgementRequest; r != nil {
		c.includes = slices.Clone(r.Includes)
		if r.Filter != nil {
			p, err := placeholder.CompilePipeline(*r.Filter)
			if err != nil {
				c.filterError = newUnresolved(*r.Filter)
			}
			c.ackFilter = p
		}
	}
	for _, label := range s.DeclaredAcks {
		c.declared = appendLabel(c.declared, label, connectionID)
	}
	if s.ReplyTarget.Enabled && s.ReplyTarget.Address != nil {
		r := &replyTarget{text: *s.ReplyTarget.Address, headers: compileHeaders(s.ReplyTarget.HeaderMapping), expected: s.ReplyTarget.ExpectedResponseTypes}
		if t, err := placeholder.Compile(r.text); err == nil {
			r.address = t
		}
		c.reply = r
	}
	return c, nil
}

// resolveSubjects is the authorization context for one message (contract runtime.md I-6.1).
func (s *source) resolveSubjects(values placeholder.Source) ([]string, *messages.Error) {
	switch {
	case s.subjectError != nil:
		return nil, s.subjectError
	case len(s.templates) == 0:
		return nil, newNoSubject()
	case s.subjects != nil:
		return s.subjects, nil
	}
	subjects := make([]string, 0, len(s.templates))
	for _, t := range s.templates {
		subject, ok := t.Resolve(values)
		if !ok || subject == "" {
			return nil, newUnresolved(t.String())
		}
		subjects = append(subjects, subject)
	}
	return subjects, nil
}

// matches reports whether the entity of a signal is the one that input allows (contract runtime.md I-6.6).
func (e *enforcement) matches(input string, entity placeholder.Source) bool {
	for _, filter := range e.filters {
		if values, ok := filter.ResolveAll(entity); ok && slices.Contains(values, input) {
			return true
		}
	}
	return false
}
