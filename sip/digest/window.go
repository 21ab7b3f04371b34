package digest

// mostNonces is how many nonces of one user are in use at once.
const mostNonces = 16

// Windows is the nonce counts that one user's phones have used, by nonce: one phone's must not make
// another's stale. It holds no pointers into what the phones sent. The zero Windows is ready.
type Windows struct {
	used  []Window
	floor uint64 // of those that were forgotten: older ones are stale, or a replay would pass with them
}

// use takes count nc of the nonce with stamp.
func (ws *Windows) use(stamp uint64, nc uint32) Result {
	oldest := 0
	for i := range ws.used {
		if ws.used[i].Nonce == stamp {
			return ws.used[i].use(stamp, nc)
		}
		if ws.used[i].Nonce < ws.used[oldest].Nonce {
			oldest = i
		}
	}
	if stamp < ws.floor {
		return Old
	}
	w := Window{Nonce: stamp, High: nc, Seen: 1}
	if len(ws.used) < mostNonces {
		ws.used = append(ws.used, w)
		return Good
	}
	if stamp < ws.used[oldest].Nonce { // it would be the one to go
		return Old
	}
	ws.floor = ws.used[oldest].Nonce + 1
	ws.used[oldest] = w
	return Good
}

// Window is the nonce counts one phone has used with one nonce: the highest and a bitmap below it.
type Window struct {
	Nonce uint64 // stamp of the newest nonce used; an older one is stale, or a replay would pass with it
	High  uint32
	Seen  uint64 // bit i: High-i was used
}

// use takes count nc of the nonce with stamp. What lies too far below High to be known is Old.
func (w *Window) use(stamp uint64, nc uint32) Result {
	switch {
	case stamp < w.Nonce:
		return Old
	case stamp > w.Nonce:
		*w = Window{Nonce: stamp, High: nc, Seen: 1}
		return Good
	case nc > w.High:
		w.Seen = w.Seen<<(nc-w.High) | 1
		w.High = nc
		return Good
	}
	below := w.High - nc
	if below >= 64 {
		return Old
	}
	if w.Seen>>below&1 == 1 {
		return Again
	}
	w.Seen |= 1 << below
	return Good
}
