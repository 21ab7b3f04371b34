package dhcp

import (
	"fmt"
	"strings"
	"time"
)

// posix writes zone as TZ does (POSIX 8.3, RFC 4833 2), such as CST6CDT,M3.2.0,M11.1.0, from what it does in the years
// from now. A zone without summer time, or without a rule for it, is written as it is at now.
func posix(zone *time.Location, now time.Time) string {
	var on, off []time.Time // when summer time begins and ends, year for year
	for year := now.Year(); year < now.Year()+7; year++ {
		begins, ends := summer(zone, year)
		if begins.IsZero() || ends.IsZero() {
			at := now.In(zone)
			return zoneName(at) + clock(-offset(at))
		}
		on, off = append(on, begins), append(off, ends)
	}
	std, dst := offset(off[0]), offset(on[0])
	text := zoneName(off[0]) + clock(-std) + zoneName(on[0])
	if dst != std+3600 {
		text += clock(-dst)
	}
	return text + "," + rule(on, std) + "," + rule(off, dst)
}

// summer is when summer time begins and ends in year; the zero times where it does not.
func summer(zone *time.Location, year int) (begins, ends time.Time) {
	for at := time.Date(year, 1, 1, 0, 0, 0, 0, zone); ; {
		if _, at = at.ZoneBounds(); at.IsZero() || at.Year() != year {
			return begins, ends
		}
		if at.IsDST() {
			begins = at
		} else {
			ends = at
		}
	}
}

// offset is seconds east of UTC.
func offset(t time.Time) int {
	_, s := t.Zone()
	return s
}

// zoneName is the abbreviation at t, in brackets where it is none of letters.
func zoneName(t time.Time) string {
	name, _ := t.Zone()
	if strings.ContainsAny(name, "+-0123456789") {
		return "<" + name + ">"
	}
	return name
}

// clock is seconds as hours, with minutes where there are some.
func clock(s int) string {
	sign := ""
	if s < 0 {
		sign, s = "-", -s
	}
	text := fmt.Sprintf("%s%d", sign, s/3600)
	if s%3600 != 0 {
		text += fmt.Sprintf(":%02d", s/60%60)
	}
	return text
}

// rule is the change of each year as Mmonth.week.day/time in the time that held until then, east seconds east of UTC.
// Week 5 means the last: it is meant where the day is in the last week of its month every year.
func rule(changes []time.Time, east int) string {
	week, last := 0, true
	var at time.Time
	for _, c := range changes {
		at = c.UTC().Add(time.Duration(east) * time.Second)
		week = max(week, (at.Day()-1)/7+1)
		last = last && at.AddDate(0, 0, 7).Month() != at.Month()
	}
	if last {
		week = 5
	}
	text := fmt.Sprintf("M%d.%d.%d", at.Month(), week, at.Weekday())
	if s := at.Hour()*3600 + at.Minute()*60; s != 7200 {
		text += "/" + clock(s)
	}
	return text
}
