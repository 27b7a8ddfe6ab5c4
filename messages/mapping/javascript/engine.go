package javascript

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dlclark/regexp2/v2"
	"github.com/dop251/goja"
)

// Options are those of one mapper. An empty script is none.
type Options struct {
	Incoming, Outgoing string
	// ByteBuffer and Long load the libraries bytebuffer.js and long.js.
	ByteBuffer, Long bool
	// Runtimes bounds how many messages are mapped at a time, each with global state of its own; at least 1.
	Runtimes int
	// MaxInbound and MaxOutbound bound the arrays that scripts return; zero is not "no limit".
	MaxInbound, MaxOutbound int
}

// Limits bound what a script may do.
type Limits struct {
	// Time bounds one call of a script, and the evaluation of the scripts in a new runtime. The process takes it from the first
	// engine also for single matches of regular expressions.
	Time time.Duration
	// StackDepth bounds how deep script functions call each other.
	StackDepth int
	// Unsafe lets scripts turn texts of any length into code (eval, Function).
	Unsafe bool
}

// Message is a broker message, in either direction. Header names are lower case.
type Message struct {
	Headers        map[string]string
	ContentType    string
	HasContentType bool
	Text           string
	HasText        bool
	Bytes          []byte
	HasBytes       bool
}

// Engine runs the scripts of one mapper. It is safe for concurrent use and owns no goroutine.
type Engine struct {
	libraries, scripts []*goja.Program
	plain              bool // see needsPlainObjects
	limits             Limits
	wait               time.Duration // longestWait
	idle               chan *member  // runtimes that nobody uses
	unmade             chan struct{} // one for each runtime that may still be made

	maxInbound, maxOutbound int
}

// The names of scripts in error messages are those of the options.
const (
	incomingScript = "incomingScript"
	outgoingScript = "outgoingScript"
)

// longestWait bounds the wait for a free runtime. To wait is how scripts that are slower than their messages hold up the
// sources.
const longestWait = time.Minute

// limitMatches: the package of regular expressions knows only this way to bound a match, and it must be set before the
// first script runs. A match that takes longer has used up the time of its call.
var limitMatches sync.Once

// New compiles the scripts. The error says where one is no JavaScript.
func New(o Options, limits Limits) (*Engine, error) {
	limitMatches.Do(func() { regexp2.DefaultMatchTimeout = limits.Time })
	e := &Engine{limits: limits, wait: longestWait, idle: make(chan *member, o.Runtimes), unmade: make(chan struct{}, o.Runtimes),
		maxInbound: o.MaxInbound, maxOutbound: o.MaxOutbound}
	for range o.Runtimes {
		e.unmade <- struct{}{}
	}
	e.libraries, e.plain = libraries(o), needsPlainObjects.MatchString(o.Incoming) || needsPlainObjects.MatchString(o.Outgoing)
	for _, script := range []struct{ name, source string }{{incomingScript, o.Incoming}, {outgoingScript, o.Outgoing}} {
		if script.source == "" {
			continue
		}
		if err := checkNesting(script.source); err != nil {
			return nil, fmt.Errorf("its option %s is no valid script: %w", script.name, err)
		}
		program, err := goja.Compile(script.name, script.source, false)
		if err != nil {
			return nil, fmt.Errorf("its option %s is no valid script: %s", script.name, firstLine(err))
		}
		e.scripts = append(e.scripts, program)
	}
	return e, nil
}

// firstLine is the first of the errors that the compiler collected.
func firstLine(err error) string {
	text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "SyntaxError: "), "\n")
	return text
}

//go:embed prelude.js
var preludeSource string

var prelude = sync.OnceValue(func() *goja.Program { return goja.MustCompile("ditto", preludeSource, false) })

//go:embed lib/bytebuffer/bytebuffer.js
var byteBufferSource string

//go:embed lib/long/long.js
var longSource string

var (
	byteBuffer = sync.OnceValue(func() *goja.Program { return goja.MustCompile("bytebuffer.js", byteBufferSource, false) })
	long       = sync.OnceValue(func() *goja.Program { return goja.MustCompile("long.js", longSource, false) })
	globalLong = sync.OnceValue(func() *goja.Program { return goja.MustCompile("long.js", "var Long = dcodeIO.Long;", false) })
)

// libraries returns them in the order in which they find each other.
func libraries(o Options) []*goja.Program {
	var programs []*goja.Program
	if o.Long {
		programs = append(programs, long(), globalLong())
	}
	if o.ByteBuffer {
		programs = append(programs, byteBuffer())
	}
	return programs
}

// Errors of calls that were not made: nothing is known about the message, and another try may work.
var (
	// ErrBusy: all runtimes were in use for a minute.
	ErrBusy = errors.New("no script runtime became free in time")
	// ErrAbandoned: done was closed while all runtimes were in use.
	ErrAbandoned = errors.New("the wait for a script runtime was ended")
)

// TooManyError says that a script returned an array that is too long. Nothing of it was mapped.
type TooManyError struct{ Count, Limit int }

func (e *TooManyError) Error() string {
	return fmt.Sprintf("the script returned %d messages, more than the allowed %d", e.Count, e.Limit)
}

// acquire takes a runtime that is free, or none when one may be made. It waits no longer than until done is closed.
func (e *Engine) acquire(done <-chan struct{}) (*member, error) {
	select {
	case m := <-e.idle:
		return m, nil
	default:
	}
	select {
	case <-e.unmade:
		return nil, nil
	default:
	}
	timer := time.NewTimer(e.wait)
	defer timer.Stop()
	select {
	case m := <-e.idle:
		return m, nil
	case <-e.unmade:
		return nil, nil
	case <-done:
		return nil, ErrAbandoned
	case <-timer.C:
		return nil, ErrBusy
	}
}

// with calls f with a runtime that nobody else uses meanwhile.
func (e *Engine) with(done <-chan struct{}, f func(m *member) error) error {
	m, err := e.acquire(done)
	if err != nil {
		return err
	}
	if m == nil {
		if m, err = newMember(e.libraries, e.scripts, e.plain, e.limits); err != nil {
			e.unmade <- struct{}{}
			return err
		}
	}
	err = m.call(func() error { return f(m) })
	if m.broken {
		e.unmade <- struct{}{}
	} else {
		e.idle <- m
	}
	return err
}

// Inbound maps a broker message to the JSON texts of envelopes; none: the message is dropped. It waits for a free runtime
// until done is closed; nil: never. The errors ErrBusy and ErrAbandoned mean that no script was called.
func (e *Engine) Inbound(done <-chan struct{}, in *Message) (envelopes [][]byte, err error) {
	err = e.with(done, func(m *member) error {
		envelopes, err = m.inbound(in, e.maxInbound)
		return err
	})
	if err != nil {
		return nil, err
	}
	return envelopes, nil
}

// Outbound maps an envelope, a JSON text, to broker messages; none: it is dropped. It waits as Inbound does.
func (e *Engine) Outbound(done <-chan struct{}, envelope string) (messages []*Message, err error) {
	err = e.with(done, func(m *member) error {
		messages, err = m.outbound(envelope, e.maxOutbound)
		return err
	})
	if err != nil {
		return nil, err
	}
	return messages, nil
}
