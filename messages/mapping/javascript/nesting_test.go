package javascript

import (
	"errors"
	"strings"
	"testing"
)

// Scripts that would take the parser of goja very long, or its stack very deep, never reach it.
func TestNestingRefused(t *testing.T) {
	for _, tt := range []struct {
		script string
		want   error
	}{
		{strings.Repeat("{a:", 16_000), errNesting},
		{strings.Repeat("{ a :\n", 8_000), errNesting},
		{strings.Repeat("a:", 25_000), errLabels},
		{strings.Repeat("a: /* : */ // b\n", 3_000), errLabels},
		{strings.Repeat("a:if(1)", 7_000), errLabels},
		{strings.Repeat("a:for(;;)", 5_000) + ";", errLabels},
		{strings.Repeat("a:do ", 9_000), errLabels},
		{strings.Repeat("if(1){}else a:", 3_000), errLabels},
		{strings.Repeat("(", 25_000) + strings.Repeat(")", 25_000), errNesting},
		{strings.Repeat("[", 50_000), errNesting},
		{"x = " + strings.Repeat("{a:", 600) + "1" + strings.Repeat("}", 600), errNesting},
		{strings.Repeat("`${", 600) + strings.Repeat("}`", 600), errNesting},
		{"x = a / 2; y = b / 3; " + strings.Repeat("[", 600), errNesting},
		{"'it\\'s'; `\\`${'}'}`; /[/\"]/; \"" + `\"` + "\"; " + strings.Repeat("[", 600), errNesting},
	} {
		for _, o := range []Options{{Incoming: tt.script, Runtimes: 1}, {Outgoing: tt.script, Runtimes: 1}} {
			if _, err := New(o, limits); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "coming") && !strings.Contains(err.Error(), "going") {
				t.Errorf("%.40s: got %.200v, want %v", tt.script, err, tt.want)
			}
		}
	}
}

// What only looks like that is accepted.
func TestNestingAccepted(t *testing.T) {
	many := strings.Repeat
	for _, script := range []string{
		"const table = [" + many("{a:1},", 1500) + "]",
		"const table = f(" + many("{a:1},", 1500) + "{}); function f() {}",
		"const table = {" + many("a:{b:{c:[1]}},", 1500) + "}",
		"const table = [" + many(`"{a:{a:[((",'((((',`+"`((((${1}((((`,", 700) + "]",
		"const table = [" + many("/[(]\\(\\[\"'`/g,", 1500) + "]",
		many("s = 'x'.replace(/\\(/, '(').replace(/[[({]/g, \"{a:\") / 2 / 3;\n", 600) + "var s",
		many("{ /'/.test('x'); f(1) / g(2); i++ / (1); }\n", 600) + "var i; function f() {} function g() {}",
		many("{ if (x) /\\(/.test('') }\n", 900) + "var x",
		many("// a: ( [ {\n/* ) a: { ( */\n", 1500),
		many("switch (1) { case 1: default: case x: ; }\n", 900) + "var x",
		many("a: for (;;) { b: for (;;) break a }\n", 900),
		many("if (x) ; else ", 2000) + ";var x",
		"var x = " + many("x ? 1 : ", 3000) + "0",
		"var x = " + many("x ? ", 300) + "1" + many(": x", 300),
		many("[", 400) + many("]", 400),
		preludeSource,
	} {
		if _, err := New(Options{Incoming: script, Runtimes: 1}, limits); err != nil {
			t.Errorf("%.60s: %v", script, err)
		}
	}
	for name, source := range map[string]string{"bytebuffer.js": byteBufferSource, "long.js": longSource} {
		if err := checkNesting(source); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
