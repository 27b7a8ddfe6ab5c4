package messages

import (
	"errors"
	"strings"
	"testing"
)

func TestStringsThatCannotBeStoredAreRefused(t *testing.T) {
	document := func(name string) string {
		return `{"id":"x","connectionType":"mqtt","connectionStatus":"closed","uri":"tcp://h:1","name":` + name +
			`,"sources":[{"addresses":["a"],"qos":1,"authorizationContext":["s"]}],"mappingDefinitions":{"m":{"mappingEngine":"Ditto","options":{"k":` + name + `}}}}`
	}
	for text, refused := range map[string]bool{
		`"plain"`: false, `"é\n\"\\u0000"`: false, `"\\\\u0000"`: false, `"A"`: false, `"😀"`: false,
		`"\u0000"`: true, `"a\\\u0000"`: true, `"\ud83d"`: true, `"\ud83dx"`: true, `"\ud83dA"`: true, `"\ude00"`: true,
	} {
		_, err := ParseConnection([]byte(document(text)))
		if !refused {
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeJSONInvalid || !strings.Contains(e.Message, "/name") {
			t.Errorf("%s: %v, want json.invalid naming /name", text, err)
		}
	}
	inOptions := strings.Replace(document(`"x"`), `"k":"x"`, `"k":["y",{"z":"\u0000"}]`, 1)
	if _, err := ParseConnection([]byte(inOptions)); err == nil || !strings.Contains(err.Error(), "/mappingDefinitions/m/options/k/1/z") {
		t.Errorf("inside options: %v", err)
	}
}
