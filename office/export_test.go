package office

import "github.com/siproam/siproam/dhcp"

// BringWire gives a DHCP server the network of a test. Before Run.
func (o *Office) BringWire(w dhcp.Wire) { o.wires.Wire = w }
