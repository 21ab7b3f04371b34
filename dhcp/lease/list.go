package lease

// list is entries in a row, the oldest first. An entry is in one list at most.
type list struct {
	first, last *entry
	n           int
}

func (l *list) push(e *entry) {
	e.out()
	e.in, e.prev, e.next = l, l.last, nil
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
	l.n++
}

// out takes e from its list, if it is in one.
func (e *entry) out() {
	l := e.in
	if l == nil {
		return
	}
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	l.n--
	e.in, e.prev, e.next = nil, nil, nil
}
