package validation

import (
	"errors"
	"testing"

	"hawser/messages"
	"hawser/messages/validation/corpus"
)

// TestCorpus runs every document through the create path: parse, validate, render. The surfaces are tested with the same
// documents in cmd/hawser/blackbox.
func TestCorpus(t *testing.T) {
	cases, err := corpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	accepted, refused, names := 0, 0, map[string]bool{}
	for _, c := range cases {
		if names[c.Group+c.Name] {
			t.Errorf("%s has two cases %q", c.Group, c.Name)
		}
		names[c.Group+c.Name] = true
		if c.Refused == "" {
			accepted++
		} else {
			refused++
		}
		t.Run(c.Group+"/"+c.Rule+" "+c.Name, func(t *testing.T) {
			parsed, err := messages.ParseConnection(c.Document)
			if err == nil {
				err = Rules{}.Validate(parsed)
			}
			var problems []string
			var e *messages.Error
			switch {
			case c.Refused == "" && err != nil:
				problems = []string{"refused: " + err.Error()}
			case c.Refused == "":
				text, _ := parsed.MarshalJSON()
				problems = c.CheckAccepted(text)
				again, err := messages.ParseConnection(text)
				if err != nil {
					t.Fatalf("what came back is not accepted: %v", err)
				}
				if second, _ := again.MarshalJSON(); string(second) != string(text) {
					problems = append(problems, "what came back, sent again, comes back as "+string(second))
				}
			case !errors.As(err, &e):
				problems = []string{"accepted"}
			default:
				problems = c.CheckRefused(e.Status, e.Code, e.Message, e.Description)
			}
			for _, p := range problems {
				t.Error(p)
			}
			if len(problems) > 0 {
				t.Logf("%s", c.Document)
			}
		})
	}
	if accepted+refused < 200 || accepted < 80 || refused < 120 {
		t.Errorf("%d accepted and %d refused documents", accepted, refused)
	}
}
