package placeholder

import (
	"fmt"

	"hawser/messages"
)

// The codes of this package; all 400.
const (
	CodeUnresolved       = "placeholder:unresolved"
	CodeFunctionUnknown  = "placeholder:function.unknown"
	CodeSignatureInvalid = "placeholder:function.signature.invalid"
	CodeTooComplex       = "placeholder:function.too.complex"
)

// NewUnresolved says that the expression, or the whole template, cannot be resolved.
func NewUnresolved(expression string) *messages.Error {
	return &messages.Error{Status: 400, Code: CodeUnresolved,
		Message:     "The placeholder '" + expression + "' could not be resolved.",
		Description: "Some placeholders could not be resolved. Check that they are spelled right and allowed in this place."}
}

func unknownFunction(stage string) *messages.Error {
	return &messages.Error{Status: 400, Code: CodeFunctionUnknown,
		Message:     "The expression '" + stage + "' is no known function.",
		Description: "The functions are " + functionNames + "; the parentheses are mandatory."}
}

func invalidSignature(name, arguments, want string) *messages.Error {
	return &messages.Error{Status: 400, Code: CodeSignatureInvalid,
		Message:     "The function 'fn:" + name + "' was called with (" + arguments + ").",
		Description: "It takes " + want + "."}
}

func tooComplex() *messages.Error {
	return &messages.Error{Status: 400, Code: CodeTooComplex,
		Message:     "The expression has too many functions.",
		Description: fmt.Sprintf("At most %d functions may follow one another or stand inside one another.", maxFunctions)}
}
