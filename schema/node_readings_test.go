package schema_test

import (
	"strings"
	"testing"

	"gnomon/schema"
)

func TestNodeReadings(t *testing.T) {
	for text, want := range map[string]int{`{}`: 0, `{"readings":{}}`: 0, `{"readings":{"bytesPerSecond":100}}`: 100, `{"readings":{"bytesPerSecond":2000}}`: 2000} {
		if n, err := schema.ParseNode([]byte(text)); err != nil || n.Readings.BytesPerSecond != want {
			t.Errorf("%s: %+v, %v", text, n, err)
		}
	}
	for _, text := range []string{`{"readings":{"bytesPerSecond":99}}`, `{"readings":{"bytesPerSecond":-1}}`, `{"readings":{"bytesPerSecond":2147483647}}`} {
		if _, err := schema.ParseNode([]byte(text)); err == nil || !strings.Contains(err.Error(), "node.readings.bytesPerSecond") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := schema.ParseNode([]byte(`{"readings":{"rate":1}}`)); err == nil {
		t.Error("a member that there isn't is taken")
	}
}
