package office

// measure makes the gauges that belong to the office as a whole.
func (o *Office) measure() {
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	o.metrics.Gauge("config_last_reload_successful", "Whether the last reload took the file.", nil, func(emit func(float64, ...string)) {
		emit(flag(o.health.reloadOK.Load()))
	})
	o.metrics.Gauge("config_last_reload_success_timestamp_seconds", "When a configuration was last taken.", nil, func(emit func(float64, ...string)) {
		emit(float64(o.health.reloaded.Load()))
	})
	o.metrics.Gauge("tls_certificate_expiry_timestamp_seconds", "When our certificate ends.", []string{"name"}, func(emit func(float64, ...string)) {
		if end := o.partners.expiry(); !end.IsZero() {
			emit(float64(end.Unix()), "partner")
		}
	})
}
