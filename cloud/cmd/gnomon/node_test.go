package main

import (
	"bytes"
	"testing"
)

func TestDescribeNode(t *testing.T) {
	node := fields([]byte(`{"activeAlarms":{"full":{"severity":"critical","metric":"disk","of":"node","above":"90%","raised":"2026-01-02T03:04:05Z"},"(more)":3},
		"readiness":{"level":"bad","checks":{"images":{"level":"bad","message":"a@1 cannot be found"},"clock":{"level":"ok","message":"it is kept right"}}}}`))
	var b bytes.Buffer
	describeNode(&b, node)
	want := `  alarm     full (critical): disk of node is above 90% since 2026-01-02T03:04:05Z
  ready     bad
            images (bad): a@1 cannot be found
`
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	describeNode(&b, fields([]byte(`{"phase":"running"}`)))
	if b.Len() != 0 {
		t.Errorf("of what is no node: %s", b.String())
	}
}
