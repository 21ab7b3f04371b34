package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tree is pid and all its descendants.
func tree(pid int) []int {
	if pid == 0 {
		return nil
	}
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		f := statFields(s)
		if len(f) < 2 {
			continue
		}
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(s)))
		parent, _ := strconv.Atoi(f[1])
		children[parent] = append(children[parent], child)
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// statFields is the fields of a /proc/PID/stat after the command's name.
func statFields(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
}

// cpu is processor time in seconds.
type cpu struct{ user, system float64 }

func (c cpu) minus(d cpu) cpu { return cpu{c.user - d.user, c.system - d.system} }

// spent is what processes have used so far; the kernel counts hundredths.
func spent(processes []int) (c cpu) {
	for _, p := range processes {
		if f := statFields("/proc/" + strconv.Itoa(p) + "/stat"); len(f) > 12 {
			user, _ := strconv.ParseFloat(f[11], 64)
			system, _ := strconv.ParseFloat(f[12], 64)
			c.user, c.system = c.user+user/100, c.system+system/100
		}
	}
	return c
}

// residentKiB is the proportional set size of processes.
func residentKiB(processes []int) (kib int) {
	for _, p := range processes {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(p) + "/smaps_rollup")
		for _, l := range strings.Split(string(b), "\n") {
			if f := strings.Fields(l); len(f) > 1 && f[0] == "Pss:" {
				n, _ := strconv.Atoi(f[1])
				kib += n
			}
		}
	}
	return kib
}
