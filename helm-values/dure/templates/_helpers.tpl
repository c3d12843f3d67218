{{- define "dure.labels" -}}
app.kubernetes.io/name: dure
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Of pods: nothing that changes with a version, else an upgrade would replace pods that stay as they are. */}}
{{- define "dure.podLabels" -}}
app.kubernetes.io/name: dure
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* (root, image's name): by digest where one is given, else by its own tag, by all images' tag, by the chart's version. */}}
{{- define "dure.image" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $images := $root.Values.images -}}
{{- with index $images.digests $name -}}
{{ $images.prefix }}/{{ $name }}@{{ . }}
{{- else -}}
{{ $images.prefix }}/{{ $name }}:{{ index $images.tags $name | default $images.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "dure.pullSecrets" -}}
{{- with .Values.images.pullSecrets -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Of a pod, by the user it runs as: what the level `restricted` demands. */}}
{{- define "dure.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ index . 0 }}
runAsGroup: {{ index . 1 }}
fsGroup: {{ index . 1 }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "dure.containerSecurity" -}}
{allowPrivilegeEscalation: false, privileged: false, capabilities: {drop: [ALL]}}
{{- end }}

{{- define "dure.databaseUrl" -}}
{{- if .Values.postgresql.enabled -}}
postgresql+psycopg://dure@dure-postgresql.{{ .Values.namespaces.platform }}.svc/dure
{{- else -}}
{{ .Values.database.url }}
{{- end -}}
{{- end }}

{{- define "dure.adminSecret" -}}
{{ .Values.admin.existingSecret | default "dure-admin" }}
{{- end }}

{{- define "dure.databaseSecret" -}}
{{ .Values.database.existingSecret | default "dure-database" }}
{{- end }}

{{- define "dure.envoySecret" -}}
{{ .Values.envoy.existingSecret | default "dure-envoy" }}
{{- end }}

{{/* (root, Secret's name, what is wanted): a Secret with what is wanted, else with what the cluster has already, else with
a new one. It outlives the release, as the volumes do that were made with it. */}}
{{- define "dure.secret" -}}
{{- $root := index . 0 -}}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ index . 1 }}
  namespace: {{ $root.Values.namespaces.platform }}
  labels: {{- include "dure.labels" $root | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
type: Opaque
data:
  password: {{ include "dure.password" . }}
{{- end }}

{{- define "dure.password" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $wanted := index . 2 -}}
{{- $there := lookup "v1" "Secret" $root.Values.namespaces.platform $name -}}
{{- if $wanted -}}
{{ $wanted | b64enc }}
{{- else if $there -}}
{{ index $there.data "password" }}
{{- else -}}
{{ randAlphaNum 24 | b64enc }}
{{- end -}}
{{- end }}

{{/* Namespaces by what they are for. */}}
{{- define "dure.peer" -}}
namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ . }}}}
{{- end }}

{{/* (root, part): the pods of one part of the platform. */}}
{{- define "dure.part" -}}
namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ (index . 0).Values.namespaces.platform }}}}
podSelector: {matchLabels: {dure/part: {{ index . 1 }}}}
{{- end }}

{{/* Everything that is nobody's own: neither private, nor metadata, nor the API server. */}}
{{- define "dure.outside" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $closed := concat $policy.metadata $policy.private $policy.apiServer.cidrs | uniq -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except:
    {{- range $closed }}{{ if not (contains ":" .) }}
      - {{ . }}
    {{- end }}{{ end }}
- ipBlock:
    cidr: "::/0"
    except:
    {{- range $closed }}{{ if contains ":" . }}
      - {{ . | quote }}
    {{- end }}{{ end }}
{{- end }}

{{/* An egress rule: where names are looked up. */}}
{{- define "dure.dns" -}}
{{- $dns := .Values.networkPolicy.dns -}}
- to:
    {{- range $dns.pods }}
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .namespace }}}}
      podSelector: {matchLabels: {{ .labels | toJson }}}
    {{- end }}
    {{- range $dns.cidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
{{- end }}
