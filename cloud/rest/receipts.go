package rest

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gnomon/cloud/history"
	"gnomon/cloud/store"
	"gnomon/cloud/twin"
	"gnomon/schema"
	"gnomon/shadow"
)

// ReceiptsInput names a shadow and what receipts of it.
type ReceiptsInput struct {
	Thing  string               `path:"thing" pattern:"^[a-zA-Z0-9:_-]{1,128}$"`
	Shadow string               `query:"shadow" doc:"a named shadow, such as app:web; without it the classic one" pattern:"^[$a-zA-Z0-9:_-]{0,64}$"`
	Status schema.ReceiptStatus `query:"status" doc:"only these" enum:"pending,applied,failed,rejected,superseded"`

	Version uint64 `query:"version" doc:"of what this earlier version of desired wrote; without it of all that is desired now" minimum:"1"`
}

// Receipts are those of one shadow at one version.
type Receipts struct {
	Thing          string           `json:"thing"`
	Shadow         string           `json:"shadow,omitempty"`
	Of             uint64           `json:"of,omitempty" doc:"the version that wrote these values, if one was asked for"`
	Version        uint64           `json:"version"`
	DesiredVersion uint64           `json:"desiredVersion"`
	Items          []schema.Receipt `json:"items"`
}

type receiptsOutput struct {
	ETag string `header:"ETag"`
	Body *Receipts
}

func (s *Server) registerReceipts() {
	huma.Register(s.api, huma.Operation{
		Method: http.MethodGet, Path: "/v1/things/{thing}/receipts", OperationID: "receipts",
		Summary: "Say of every desired value what became of it",
	}, s.receipts)
}

func (s *Server) receipts(ctx context.Context, in *ReceiptsInput) (*receiptsOutput, error) {
	key := store.Key{Thing: in.Thing, Shadow: in.Shadow}
	d, all, err := s.receiptsAt(ctx, key, in.Version)
	if err != nil {
		return nil, problem(err, false)
	}
	out := &Receipts{Thing: in.Thing, Shadow: in.Shadow, Of: in.Version, Version: d.Version, DesiredVersion: d.DesiredVersion, Items: []schema.Receipt{}}
	for _, r := range all {
		if in.Status == "" || in.Status == r.Status {
			out.Items = append(out.Items, r)
		}
	}
	return &receiptsOutput{ETag: etag(d.Version), Body: out}, nil
}

// receiptsAt returns the receipts of what is desired, or of what an earlier
// version wrote.
func (s *Server) receiptsAt(ctx context.Context, key store.Key, version uint64) (*shadow.Document, []schema.Receipt, error) {
	if version == 0 {
		d, err := s.cfg.Shadows.Get(ctx, s.principal(ctx), key)
		return d, schema.ReceiptsOf(key.Shadow, d), err
	}
	log, d, err := s.cfg.Shadows.History(ctx, s.principal(ctx), key)
	if err != nil {
		return nil, nil, err
	}
	written, err := log.Written(version)
	if errors.Is(err, history.ErrNotKept) {
		err = twin.NotKept(key, version, log)
	}
	if err != nil {
		return nil, nil, err
	}
	return d, schema.ReceiptsAt(key.Shadow, d, written), nil
}
