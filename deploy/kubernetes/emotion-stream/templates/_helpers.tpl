{{- define "emotion-stream.labels" -}}
app.kubernetes.io/name: emotion-stream
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "emotion-stream.selector" -}}
app.kubernetes.io/name: emotion-stream
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "emotion-stream.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "emotion-stream.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "emotion-stream.environment" -}}
- {name: EMOTION_KAFKA_BOOTSTRAP_SERVERS, value: {{ .Values.kafka.bootstrapServers | quote }}}
- {name: EMOTION_TOPIC_PARTITION_COUNT, value: {{ .Values.topics.partitions | quote }}}
- {name: EMOTION_TOPIC_REPLICATION_FACTOR, value: {{ .Values.topics.replicationFactor | quote }}}
- {name: EMOTION_METRICS_HOST, value: "0.0.0.0"}
{{- with .Values.tracing }}{{- if .endpoint }}
- {name: EMOTION_TRACING, value: "true"}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_TRACES_SAMPLER, value: parentbased_traceidratio}
- {name: OTEL_TRACES_SAMPLER_ARG, value: {{ .sampleRatio | quote }}}
{{- end }}{{- end }}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
