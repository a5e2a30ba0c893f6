{{- define "ztnode.image" -}}
{{ required "image.repository: where the image lies, such as registry.example.org/ztnode" .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "ztnode.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "ztnode.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "ztnode.probes" -}}
readinessProbe:
  exec: {command: [ztnode-cli, container, health]}
  timeoutSeconds: 5
  periodSeconds: 10
livenessProbe:
  exec: {command: [ztnode-cli, info]}
  timeoutSeconds: 5
  periodSeconds: 20
{{- end }}

{{- define "ztnode.hasPlanet" -}}
{{- if and .Values.planet.secret .Values.planet.configMap -}}
{{- fail "planet.secret and planet.configMap are both given; one is enough" -}}
{{- end -}}
{{- if or .Values.planet.secret .Values.planet.configMap -}}yes{{- end -}}
{{- end }}

{{- define "ztnode.planetVolume" -}}
- name: planet
  {{- if .Values.planet.secret }}
  secret: {secretName: {{ .Values.planet.secret }}}
  {{- else }}
  configMap: {name: {{ .Values.planet.configMap }}}
  {{- end }}
{{- end }}
