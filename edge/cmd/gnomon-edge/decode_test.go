package main

import (
	"fmt"
	"testing"
)

func TestFlatten(t *testing.T) {
	rows, err := flatten([]byte(`{"b":1.50,"a":{"x":[true,null,{"y":"z"}],"e":{}},"l":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(rows), "[[b 1.50] [a.x.0 true] [a.x.1 <nil>] [a.x.2.y z]]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := flatten([]byte(`{"a":`)); err == nil {
		t.Error("half a document was read")
	}
}
