package edgeproc

import (
	"context"
	"net/http"

	"gnomon/edge/local"
)

// Status is what the agent says of itself on its own node, as far as simulations
// look.
type Status struct {
	Applications []struct {
		Name  string `json:"name"`
		Phase string `json:"phase"`
		PID   int    `json:"pid"`
	} `json:"applications"`
}

// Status asks the agent. It fails while there is none.
func (n *Node) Status(ctx context.Context) (Status, error) {
	var s Status
	err := local.NewClient(n.Data).Ask(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}
