package javascript

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dop251/goja"
)

// member is one runtime of an engine with its global state. One goroutine at a time uses it.
type member struct {
	vm      *goja.Runtime
	limit   time.Duration
	timer   *time.Timer   // interrupts what runs; stopped between calls
	expired chan struct{} // takes one token when timer has interrupted
	over    atomic.Bool   // the time is over: for what Go does for a script
	broken  bool          // goja failed inside; it is not used again

	plain  bool   // all objects are goja's own
	buffer []byte // reused by inbound
	spans  []span // reused by encoder; none is in it

	json                            *goja.Object
	parse, stringify                goja.Callable // those of goja
	typeError, syntaxError          *goja.Object  // constructors
	rangeError, bytes               *goja.Object  // bytes: Uint8Array
	toWrapper, toEntry, fromWrapper entry
}

// entry is a global function by its name, and what it was when it was looked up last.
type entry struct {
	name     string
	value    goja.Value
	call     goja.Callable
	original goja.Value // what the prelude defined
}

// newMember makes a runtime and evaluates libraries and scripts in it.
func newMember(libraries, scripts []*goja.Program, plain bool, limits Limits) (*member, error) {
	vm := goja.New()
	m := &member{vm: vm, limit: limits.Time, expired: make(chan struct{}, 1), plain: plain}
	m.timer = time.AfterFunc(time.Hour, m.interrupt)
	m.timer.Stop()
	err := m.call(func() error {
		if err := m.prepare(limits.Unsafe); err != nil {
			return err
		}
		for _, p := range libraries {
			if _, err := vm.RunProgram(p); err != nil {
				return m.failure(err)
			}
		}
		vm.SetMaxCallStackSize(limits.StackDepth)
		for _, p := range scripts {
			if _, err := vm.RunProgram(p); err != nil {
				return m.failure(err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

var errTime = errors.New("the time of a script is over")

func (m *member) interrupt() {
	m.over.Store(true)
	m.vm.Interrupt(errTime)
	m.expired <- struct{}{}
}

// call runs f, which may run script code, and interrupts it when it takes too long. A panic inside goja becomes an error.
func (m *member) call(f func() error) (err error) {
	m.timer.Reset(m.limit)
	defer func() {
		if x := recover(); x != nil {
			err = m.recovered(x)
		}
		if !m.timer.Stop() {
			<-m.expired // interrupt has been called: wait for its end, it is short
			m.vm.ClearInterrupt()
			m.over.Store(false)
		}
	}()
	if ex := m.vm.Try(func() { err = f() }); ex != nil {
		return m.failure(ex)
	}
	return err
}

// recovered says what a panic means. What no script can catch leaves goja's functions this way, too.
func (m *member) recovered(x any) error {
	switch x := x.(type) {
	case *goja.InterruptedError:
		return m.failure(x)
	case *goja.StackOverflowError:
		return m.failure(x)
	}
	m.broken = true
	return errors.New("the script made its engine fail")
}

// failure says why a script ended: the message, line and column, and the script's stack.
func (m *member) failure(err error) error {
	var (
		interrupted *goja.InterruptedError
		overflow    *goja.StackOverflowError
		exception   *goja.Exception
	)
	switch {
	case errors.As(err, &interrupted):
		return fmt.Errorf("the script took longer than %s%s", m.limit, stack(interrupted.Stack()))
	case errors.As(err, &overflow):
		return fmt.Errorf("the script calls functions too deep%s", stack(overflow.Stack()))
	case errors.As(err, &exception):
		return fmt.Errorf("%s%s", shorten(m.thrown(exception)), stack(exception.Stack()))
	}
	return err
}

// thrown is what a script threw, as text: its own code may say how, and throw again.
func (m *member) thrown(e *goja.Exception) (text string) {
	if ex := m.vm.Try(func() { text = e.Value().String() }); ex != nil || e.Value() == nil {
		return "the script threw what has no text"
	}
	return text
}

const (
	maxMessage = 1024 // bytes of what a script threw that an error holds
	maxFrames  = 10   // calls of the stack that it holds
)

func shorten(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "…"
}

// stack renders where the innermost call was, and the calls around it.
func stack(frames []goja.StackFrame) string {
	var b strings.Builder
	for i, f := range frames {
		position := f.Position()
		if position.Line == 0 {
			continue
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, " - in line/column #%d/%d, stack:", position.Line, position.Column)
		}
		if i == maxFrames {
			b.WriteString(" …")
			break
		}
		fmt.Fprintf(&b, " at %s:%d:%d", f.SrcName(), position.Line, position.Column)
		if name := f.FuncName(); name != "" {
			fmt.Fprintf(&b, " (%s)", name)
		}
	}
	return b.String()
}

// prepare gives the runtime what scripts find before they are evaluated.
func (m *member) prepare(unsafe bool) error {
	vm := m.vm
	global := vm.GlobalObject()
	m.typeError, m.syntaxError = global.Get("TypeError").ToObject(vm), global.Get("SyntaxError").ToObject(vm)
	m.rangeError, m.bytes = global.Get("RangeError").ToObject(vm), global.Get("Uint8Array").ToObject(vm)
	m.json = global.Get("JSON").ToObject(vm)
	m.parse, _ = goja.AssertFunction(m.json.Get("parse"))
	m.stringify, _ = goja.AssertFunction(m.json.Get("stringify"))
	if !unsafe {
		m.boundCode()
	}
	made, err := vm.RunProgram(prelude())
	if err != nil {
		return m.failure(err)
	}
	install, _ := goja.AssertFunction(made)
	native := vm.NewObject()
	for name, f := range map[string]func(goja.FunctionCall) goja.Value{
		"parse": m.parseJSON, "stringify": m.stringifyJSON, "buildDittoProtocolMsg": m.buildEnvelope,
		"arrayBufferToString": m.arrayBufferToString, "stringToArrayBuffer": m.stringToArrayBuffer,
	} {
		_ = native.Set(name, f)
	}
	if _, err := install(goja.Undefined(), global, native); err != nil {
		return m.failure(err)
	}
	for name, e := range map[string]*entry{
		"mapToDittoProtocolMsgWrapper":   &m.toWrapper,
		"mapToDittoProtocolMsg":          &m.toEntry,
		"mapFromDittoProtocolMsgWrapper": &m.fromWrapper,
	} {
		e.name, e.original = name, vm.Get(name)
	}
	return nil
}

// maxCode bounds what eval and Function take, in characters: nothing interrupts the compiler (see the package comment).
const maxCode = 1000

// boundCode puts functions that keep maxCode in the place of those that make code of texts.
func (m *member) boundCode() {
	vm, global := m.vm, m.vm.GlobalObject()
	check := func(arguments []goja.Value) []goja.Value {
		size, texts := 0, make([]goja.Value, len(arguments))
		for i, a := range arguments {
			texts[i] = a.ToString()
			size += texts[i].(goja.String).Length()
		}
		if size > maxCode {
			m.throw(m.rangeError, fmt.Sprintf("A script may turn at most %d characters into code.", maxCode))
		}
		return texts
	}
	eval, _ := goja.AssertFunction(global.Get("eval"))
	_ = global.DefineDataProperty("eval", vm.ToValue(func(call goja.FunctionCall) goja.Value {
		if !goja.IsString(call.Argument(0)) {
			return call.Argument(0)
		}
		result, err := eval(goja.Undefined(), check(call.Arguments[:1])...)
		m.rethrow(err)
		return result
	}), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	for i, source := range []string{"(function(){})", "(function*(){})", "(async function(){})"} {
		example, err := vm.RunString(source)
		m.rethrow(err)
		kind := example.ToObject(vm).Prototype()
		original, ok := goja.AssertConstructor(kind.Get("constructor"))
		if !ok {
			panic("javascript: functions of kind " + source + " have no constructor") // another version of goja
		}
		bounded := vm.ToValue(func(call goja.ConstructorCall) *goja.Object {
			made, err := original(nil, check(call.Arguments)...)
			m.rethrow(err)
			return made
		}).ToObject(vm)
		_ = bounded.Set("prototype", kind)
		_ = kind.DefineDataProperty("constructor", bounded, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
		if i == 0 {
			_ = global.DefineDataProperty("Function", bounded, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
		}
	}
}

// function looks up a global function; the script may exchange it while it runs.
func (m *member) function(e *entry) (goja.Callable, error) {
	value := m.vm.Get(e.name)
	if value != e.value || e.call == nil {
		call, ok := goja.AssertFunction(value)
		if !ok {
			return nil, fmt.Errorf("%s is no function", e.name)
		}
		e.value, e.call = value, call
	}
	return e.call, nil
}
