package main

import (
	dlt645 "gnomon/edge/collect/dlt645/wire"
	dlt698 "gnomon/edge/collect/dlt698/wire"
	q376 "gnomon/edge/collect/q376/wire"
)

// carried are the decoders of the meter frames within frames of Q/GDW 10376.2.
var carried = map[q376.Protocol]decoder{
	q376.DLT645v1997: explained(dlt645.Explain),
	q376.DLT645:      explained(dlt645.Explain),
	q376.DLT698:      explained(dlt698.Explain),
}

// explainQ376 explains a frame and what it carries. Frames of other protocols
// stay as they are.
func explainQ376(frame []byte) (*q376.Explanation, error) {
	return q376.Explain(frame, func(p q376.Protocol, inner []byte) (any, error) {
		if explain := carried[p]; explain != nil {
			return explain(inner)
		}
		return nil, nil
	})
}
